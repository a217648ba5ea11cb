// What users of Anthropic's Node SDK write, one scenario a run: node anthropic.mjs SCENARIO; prints JSON.
import Anthropic from "@anthropic-ai/sdk";
import { betaZodTool } from "@anthropic-ai/sdk/helpers/beta/zod";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { z } from "zod";

const client = new Anthropic({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY, maxRetries: 0 });
const model = process.env.MODEL;
const asked = { model, max_tokens: 1000, messages: [{ role: "user", content: "Hello, gateway!" }] };
const Event = z.object({ name: z.string(), day: z.string(), guests: z.array(z.string()) });

const textOf = (message) => message.content.map((block) => (block.type === "text" ? block.text : "")).join("");

const runner = (stream, calls) =>
  client.beta.messages.toolRunner({
    model,
    max_tokens: 1000,
    stream,
    messages: [{ role: "user", content: "What is the weather?" }],
    tools: [
      betaZodTool({
        name: "weather",
        description: "Tells the weather.",
        inputSchema: z.object({ city: z.string() }),
        run: ({ city }) => {
          calls.push(city);
          return `sunny in ${city}`;
        },
      }),
    ],
  });

const refused = async (asking) => {
  try {
    await asking();
  } catch (error) {
    return { class: error.constructor.name, status: error.status, code: error.type, requestID: error.requestID };
  }
  throw new Error("nothing was refused");
};

const scenarios = {
  async whole() {
    const answer = await client.messages.create(asked);
    const requestID = answer._request_id;
    return { text: textOf(answer), finish: answer.stop_reason, usage: answer.usage, requestID };
  },
  async streamed() {
    const found = { text: "", finishes: [], kinds: [] };
    for await (const event of await client.messages.create({ ...asked, stream: true })) {
      found.kinds.push(event.type);
      if (event.type === "content_block_delta") found.text += event.delta.text ?? "";
      if (event.type === "message_delta") found.finishes.push(event.delta.stop_reason);
    }
    return found;
  },
  async helper() {
    const deltas = [];
    const stream = client.messages.stream(asked).on("text", (delta) => deltas.push(delta));
    return { text: textOf(await stream.finalMessage()), joined: deltas.join(""), deltas: deltas.length };
  },
  async parsed() {
    const answer = await client.messages.parse({ ...asked, output_config: { format: zodOutputFormat(Event) } });
    return answer.parsed_output;
  },
  async tools() {
    const calls = [];
    return { calls, text: textOf(await runner(false, calls)) };
  },
  async streamed_tools() {
    const calls = [];
    let text = "";
    for await (const stream of runner(true, calls)) text = textOf(await stream.finalMessage());
    return { calls, text };
  },
  async tokens() {
    const counted = await client.messages.countTokens({ model, messages: asked.messages });
    return { counted: counted.input_tokens, used: (await client.messages.create(asked)).usage.input_tokens };
  },
  async models() {
    const ids = [];
    for await (const one of client.models.list({ limit: 5 })) ids.push(one.id);
    return { ids, alias: (await client.models.retrieve("sonnet")).id };
  },
  async unknown_model() {
    return refused(() => client.messages.create({ ...asked, model: "gpt-17" }));
  },
  async wrong_key() {
    return refused(() => client.withOptions({ apiKey: "no-such-client-key-0123456789" }).messages.create(asked));
  },
  async wrong_field() {
    return refused(() => client.messages.create({ ...asked, messages: "Hello" }));
  },
};

process.stdout.write(JSON.stringify(await scenarios[process.argv[2]]()));
