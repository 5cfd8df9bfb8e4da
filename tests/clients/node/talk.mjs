// The official Node SDK against the server at OPENAI_BASE_URL; what it saw goes to stdout as JSON.
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 1, timeout: 20_000 });
const messages = [{ role: "user", content: "tea?" }];
const tools = [
  {
    type: "function",
    function: { name: "weather", parameters: { type: "object", properties: { town: { type: "string" } } } },
  },
];
const seen = {};

const plain = await client.chat.completions.create({ model: "mia", messages });
seen.plain = plain.choices[0].message.content;

seen.stream = [];
const stream = await client.chat.completions.create({
  model: "mia",
  messages,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  seen.stream.push([chunk.choices[0]?.delta.content ?? null, chunk.usage?.total_tokens ?? null]);
}

const asked = await client.chat.completions.create({ model: "mia", messages, tools });
const [call] = asked.choices[0].message.tool_calls;
seen.call = [asked.choices[0].finish_reason, call.function.name, call.function.arguments];
const answered = await client.chat.completions.create({
  model: "mia",
  messages: [...messages, asked.choices[0].message, { role: "tool", tool_call_id: call.id, content: "rain" }],
  tools,
});
seen.answered = answered.choices[0].message.content;

seen.models = [];
for await (const model of client.models.list()) seen.models.push(model.id);

for (const [name, model, key] of [["unknown", "nobody", undefined], ["refused", "mia", "wrong"]]) {
  const asking = key ? new OpenAI({ apiKey: key, maxRetries: 0 }) : client;
  try {
    await asking.chat.completions.create({ model, messages });
  } catch (error) {
    seen[name] = [error.constructor.name, error.status, error.code, error.param, typeof error.requestID];
  }
}

const again = await client.chat.completions.create({ model: "mia", messages, cozy: { session_id: "new" } });
seen.again = [again.choices[0].message.content, typeof again.cozy.session_id];

console.log(JSON.stringify(seen));
