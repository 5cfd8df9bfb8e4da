"""Failures in words for the person in the chat, in their language: what happened, and what to do."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from cozy.interfaces.http.problems import Problem

_HAN = re.compile(r"[\u3400-\u9fff]")
_KANA = re.compile(r"[\u3040-\u30ff\uac00-\ud7af]")
_LETTER = re.compile(r"[^\W\d_]")

# code → Chinese, English; `{s}` is how many seconds to wait, `{id}` what the log knows the request by
_TOLD: Mapping[str, tuple[str, str]] = {
    "AUTH_REQUIRED": ("请先登录。", "Please log in first."),
    "AUTH": (
        "登录已失效，或者没有权限，请重新登录。",
        "Your login is not valid any more: please log in again.",
    ),
    "AUTH_ACCOUNT_DISABLED": (
        "这个账号已被停用，请联系管理员。",
        "This account is closed: please ask an admin.",
    ),
    "AUTH_FORBIDDEN": ("没有权限。", "You are not allowed to do this."),
    "RATE_LIMIT_EXCEEDED": ("请求太频繁了，请在 {s} 秒后再试。", "Too many requests: try again in {s} s."),
    "RATE_LIMIT_OVERLOADED": (
        "现在用的人太多了，请稍后再试。",
        "Too many are asking just now: try again soon.",
    ),
    "RESOURCE_NOT_FOUND": (
        "找不到这个会话，它可能已经被删除了。",
        "This conversation is not there; it may have been deleted.",
    ),
    "RESOURCE_CONFLICT": ("同一个请求正在处理中，请稍等。", "The same request is being answered already."),
    "model_not_found": (
        "找不到这个人格，请在设置里另选一个。",
        "There is no such personality: choose another one.",
    ),
    "VALIDATION_PROMPT_TOO_LARGE": (
        "对话太长，模型读不下了，请缩短消息或新建会话。",
        "This is longer than the model can read: shorten it, or begin a new conversation.",
    ),
    "VALIDATION_TOO_LARGE": ("消息太长了，请缩短后再发。", "The message is too long: please shorten it."),
    "VALIDATION_TIMEOUT": (
        "消息没有完整传到，请检查网络后重试。",
        "The message did not arrive whole: try again.",
    ),
    "VALIDATION": ("这条消息无法处理。", "This message cannot be answered."),
    "ENGINE_TIMEOUT": ("模型没有及时回答，请重试。", "The model did not answer in time: please try again."),
    "ENGINE_TURN_TIMEOUT": (
        "这次回答用时太长，已经停止，请重试。",
        "The answer took too long: please try again.",
    ),
    "ENGINE_RATE_LIMITED": ("模型服务太忙，请稍后再试。", "The model is too busy: try again soon."),
    "ENGINE_AUTH": ("模型服务拒绝了访问，请联系管理员。", "The model refused access: please ask an admin."),
    "ENGINE_INVALID_REQUEST": ("模型拒绝了这次请求。", "The model refused this request."),
    "ENGINE": ("模型服务暂时不可用，请稍后再试。", "The model is away: try again soon."),
    "STORAGE": ("消息暂时无法保存，请稍后再试。", "Messages cannot be stored just now: try again soon."),
}
_ELSE = ("出错了，请重试。（编号 {id}）", "Something went wrong: please try again. ({id})")


def failure(problem: Problem, texts: Iterable[str], request_id: str) -> str:
    """One or two sentences, in the language of `texts` (newest first); nothing of what is inside.

    What is wrong with a request itself is added in the words that its developer needs.
    """
    code = problem.code
    chinese, english = _TOLD.get(code) or _TOLD.get(code.partition("_")[0]) or _ELSE
    wait_s = max(1, math.ceil(problem.retry_after_s or 1))
    words = (chinese if is_chinese(texts) else english).format(s=wait_s, id=request_id)
    if code.startswith("VALIDATION") and code not in _TOLD:
        words += f" ({problem.message})"
    return words


def is_chinese(texts: Iterable[str]) -> bool:
    """Whether the first of these that has letters is Chinese; where none has, most of our users are."""
    for text in texts:
        if _HAN.search(text):
            return not _KANA.search(text)
        if _LETTER.search(text):
            return False
    return True


def texts_in(body: Mapping[str, Any]) -> Sequence[str]:
    """What was said in a body that nobody has checked, newest first, the user's own words before others'."""
    messages: Any = body.get("messages")
    told: list[tuple[bool, str]] = []
    for message in reversed(cast("list[Any]", messages)) if isinstance(messages, list) else ():
        if isinstance(message, Mapping):
            fields = cast("Mapping[str, Any]", message)
            if isinstance(content := fields.get("content"), str):
                told.append((fields.get("role") != "user", content))
    return [text for _, text in sorted(told, key=lambda one: one[0])]
