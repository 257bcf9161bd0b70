/** Any program as an agent: what it finds in its sandbox, and what it does not reach from there. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { tempFolder } from "../sdk/temp-folder.ts";
import { harnessSuite } from "./harness-flow.ts";

/** Asks the model by both dialects, and tries the doors that must be shut. */
const agent = `
import { writeFileSync } from "node:fs";
import { connect } from "node:net";

const [, , task, apiPort] = process.argv;
const { OPENAI_BASE_URL: base, OPENAI_API_KEY: key, OPENAI_MODEL: model } = process.env;
const headers = { authorization: "Bearer " + key, "content-type": "application/json" };
const ask = async (path, body, init = {}) =>
  (await fetch(base + path, { method: "POST", headers, body: JSON.stringify(body), ...init }));
const chat = await (await ask("/chat/completions", { model, messages: [{ role: "user", content: task }] })).json();
const response = await (await ask("/responses", { model, input: task })).json();
const tries = (port, host) => new Promise((resolve) => {
  const socket = connect({ port, host, timeout: 3000 });
  socket.on("connect", () => { socket.destroy(); resolve("connected"); });
  socket.on("timeout", () => { socket.destroy(); resolve("timeout"); });
  socket.on("error", (error) => resolve(error.code));
});
const origin = new URL(base).origin;
writeFileSync("findings.json", JSON.stringify({
  task,
  chat: chat.choices[0].message.content,
  response: response.output[0].content[0].text,
  tokens: (await fetch(origin + "/v1/tokens", { headers })).status,
  nobody: (await ask("/responses", { model, input: task }, { headers: {} })).status,
  host: await tries(Number(apiPort), "127.0.0.1"),
  world: await tries(443, "192.0.2.1"),
  secrets: Object.keys(process.env).filter((name) => /\\bdm[a-z]*_/.test(process.env[name])),
}));
`;

harnessSuite({
  name: "a command",
  conversations: [
    { when: { contains: "Say hello" }, turns: [{ pieces: [{ text: "Hello from the model." }] }] },
  ],
  tests: (get) => {
    it("asks the models with the job's token, and reaches nothing else", async () => {
      using project = tempFolder({ "agent.mjs": agent });
      const { up, run } = get();
      const { result, calls, lines } = await run("Say hello", project.path, [
        ...["--with", "command:node agent.mjs {task}", "--", String(up.ports.api)],
      ]);
      expect(result.outcome, JSON.stringify(lines.slice(-5))).to.equal("JOB_STATUS_SUCCEEDED");
      expect(calls.map(({ outcome }) => outcome)).to.deep.equal(["ok", "ok"]);
      const text = readFileSync(join(project.path, "findings.json"), "utf8");
      const findings = JSON.parse(text) as Record<string, unknown>;
      expect(findings).to.deep.include({
        task: "Say hello",
        chat: "Hello from the model.",
        response: "Hello from the model.",
        tokens: 403,
        nobody: 401,
        secrets: ["OPENAI_API_KEY"],
      });
      expect(findings.host).to.equal("ECONNREFUSED");
      expect(findings.world).to.be.oneOf(["ENETUNREACH", "EHOSTUNREACH", "EACCES", "EPERM"]);
    });

    it("fails with the program's own status", async () => {
      using project = tempFolder({ "agent.mjs": `${agent}\nprocess.exit(3);\n` });
      const { up, run } = get();
      const { result } = await run("Say hello", project.path, [
        ...["--with", "command:node agent.mjs {task}", "--", String(up.ports.api)],
      ]);
      expect(result).to.include({
        outcome: "JOB_STATUS_FAILED",
        reason: "EXIT_STATUS",
        exitCode: 3,
      });
    });
  },
});
