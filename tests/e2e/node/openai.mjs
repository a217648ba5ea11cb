// What users of openai-node write, one scenario a run: node openai.mjs SCENARIO; prints what they would see as JSON.
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY, maxRetries: 0 });
const model = process.env.MODEL;
const messages = [{ role: "user", content: "Hello, gateway!" }];
const Event = z.object({ name: z.string(), day: z.string(), guests: z.array(z.string()) });
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };

const lookUps = (calls) => [
  {
    type: "function",
    function: {
      name: "weather",
      description: "Tells the weather.",
      parameters,
      parse: JSON.parse,
      function: ({ city }) => {
        calls.push(city);
        return `sunny in ${city}`;
      },
    },
  },
];

const ran = async (stream) => {
  const calls = [];
  const runner = client.chat.completions.runTools({
    model,
    stream,
    messages: [{ role: "user", content: "What is the weather?" }],
    tools: lookUps(calls),
  });
  return { calls, text: await runner.finalContent() };
};

const refused = async (asking) => {
  try {
    await asking();
  } catch (error) {
    return { class: error.constructor.name, status: error.status, code: error.code, requestID: error.requestID };
  }
  throw new Error("nothing was refused");
};

const scenarios = {
  async whole() {
    const answer = await client.chat.completions.create({ model, messages });
    const { content } = answer.choices[0].message;
    return { text: content, finish: answer.choices[0].finish_reason, usage: answer.usage, requestID: answer._request_id };
  },
  async streamed() {
    const found = { text: "", finishes: [], usages: 0 };
    const options = { stream: true, stream_options: { include_usage: true } };
    for await (const chunk of await client.chat.completions.create({ model, messages, ...options })) {
      found.usages += chunk.usage ? 1 : 0;
      for (const choice of chunk.choices) {
        found.text += choice.delta.content ?? "";
        if (choice.finish_reason) found.finishes.push(choice.finish_reason);
      }
    }
    return found;
  },
  async helper() {
    const deltas = [];
    const stream = client.chat.completions.stream({ model, messages }).on("content", (delta) => deltas.push(delta));
    const final = await stream.finalChatCompletion();
    return { text: final.choices[0].message.content, joined: deltas.join(""), deltas: deltas.length };
  },
  async parsed() {
    const answer = await client.chat.completions.parse({
      model,
      messages,
      response_format: zodResponseFormat(Event, "event"),
    });
    return answer.choices[0].message.parsed;
  },
  async tools() {
    return ran(false);
  },
  async streamed_tools() {
    return ran(true);
  },
  async models() {
    const ids = [];
    for await (const one of client.models.list()) ids.push(one.id);
    return { ids, alias: (await client.models.retrieve("sonnet")).id };
  },
  async unknown_model() {
    return refused(() => client.chat.completions.create({ model: "gpt-17", messages }));
  },
  async wrong_key() {
    const stranger = client.withOptions({ apiKey: "no-such-client-key-0123456789" });
    return refused(() => stranger.chat.completions.create({ model, messages }));
  },
  async wrong_field() {
    return refused(() => client.chat.completions.create({ model, messages, temperature: "hot" }));
  },
};

process.stdout.write(JSON.stringify(await scenarios[process.argv[2]]()));
