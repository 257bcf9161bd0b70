/** What the fake knows besides jobs: models, runners, documents, audit rows, parts. */
import { timestampFromMs, timestampNow } from "@bufbuild/protobuf/wkt";
import { AgentStatus } from "@devmesh/gen/devmesh/api/v1/agent_pb";
import { Isolation } from "@devmesh/gen/devmesh/api/v1/isolation_pb";

/** Two providers that are up, and one that is not. */
export const providers = [
  { name: "embedded", local: true, healthy: true, models: 2 },
  { name: "ollama", local: true, healthy: true, models: 2 },
  {
    name: "openai",
    local: false,
    healthy: false,
    detail: "no key: set OPENAI_API_KEY_FILE",
    models: 0,
  },
];

export const models = [
  { provider: "embedded", name: "smol-135m", roles: ["chat"], local: true, contextTokens: 8192 },
  { provider: "embedded", name: "minilm-l6", roles: ["embeddings"], local: true, dimensions: 384 },
  {
    provider: "ollama",
    name: "qwen2.5-coder:7b",
    roles: ["coding"],
    local: true,
    contextTokens: 32768,
  },
  { provider: "ollama", name: "llama3.2:3b", roles: ["chat"], local: true, contextTokens: 131072 },
];

/** One runner that lives, and one that was lost. */
export function agents() {
  const rows = [
    {
      driver: "process",
      isolation: Isolation.PROCESS,
      available: true,
      engine: "bubblewrap 0.8.0",
    },
    {
      driver: "docker",
      isolation: Isolation.CONTAINER,
      available: true,
      engine: "docker 27.3, runc 1.1",
    },
    {
      driver: "docker",
      isolation: Isolation.GVISOR,
      available: false,
      reason: "the engine has no runtime named runsc",
      remedy: "Install gVisor and add runsc to the engine’s runtimes.",
    },
    { driver: "qemu", isolation: Isolation.VM, available: true, engine: "QEMU 7.2, KVM" },
    {
      driver: "firecracker",
      isolation: Isolation.VM,
      available: false,
      reason: "/dev/kvm cannot be opened: permission denied",
      remedy: "Add the user to the group kvm.",
    },
  ];
  return [
    {
      id: "run-build-1-4f2a",
      host: "build-1",
      version: "0.1.0",
      capacity: 4,
      capabilities: rows,
      status: AgentStatus.ALIVE,
      lastSeen: timestampNow(),
      running: 1,
    },
    {
      id: "run-build-2-91cc",
      host: "build-2",
      version: "0.1.0",
      capacity: 2,
      capabilities: rows.slice(0, 1),
      status: AgentStatus.LOST,
      lastSeen: timestampFromMs(Date.now() - 540_000),
    },
  ];
}

export const searchItems = [
  {
    chunkId: "c1",
    source: "services/mesh/interceptors/retry.ts",
    collection: "code",
    startLine: 14,
    endLine: 29,
    title: "createRetryInterceptor",
    snippet: `/** Tries unary calls again that are safe to repeat. */
export function createRetryInterceptor(policy: RetryPolicy): Interceptor {
  return (next) => async (request) => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await next(request);
      } catch (error) {
        if (!mayRetry(request, error, attempt, policy)) throw error;
        await wait(delayMs(policy, attempt), request.signal);
      }
    }
  };
}`,
    score: 0.033,
    keywordRank: 1,
    vectorRank: 1,
  },
  {
    chunkId: "c2",
    source: "docs/adr/0007-retries.md",
    collection: "notes",
    startLine: 1,
    endLine: 9,
    title: "Retries live in one interceptor",
    snippet: `# Retries live in one interceptor

The channel’s own retry does not fire against a server that has sent headers.
So the decision is made above the channel, by the method’s idempotency level.`,
    score: 0.031,
    keywordRank: 0,
    vectorRank: 2,
  },
  {
    chunkId: "c3",
    source: "runs/job_01jd/summary.md",
    collection: "runs",
    startLine: 3,
    endLine: 3,
    title: "",
    snippet: "Raised maxRetries to 2 and added a test with a broken peer.",
    score: 0.016,
    keywordRank: 2,
    vectorRank: 0,
  },
];

export const parts = [
  { name: "storage", ok: true, detail: "sqlite 3.50, WAL" },
  { name: "mcp", ok: true, detail: "1,204 chunks, index version 3" },
  { name: "inference", ok: false, detail: "openai: no key; local models answer" },
  { name: "runners", ok: true, detail: "1 alive, room for 4 jobs" },
];

/** The change that the fake's agent made. */
export const patch = `diff --git a/src/parser.ts b/src/parser.ts
index 3f2a1c0..8b7d9e1 100644
--- a/src/parser.ts
+++ b/src/parser.ts
@@ -12,9 +12,11 @@ export function parse(text: string): Node[] {
   const nodes: Node[] = [];
   let at = 0;
   while (at < text.length) {
-    const end = text.indexOf("\\n", at);
-    nodes.push(readLine(text.slice(at, end)));
-    at = end + 1;
+    const found = text.indexOf("\\n", at);
+    // The last line may have no end.
+    const end = found < 0 ? text.length : found;
+    nodes.push(readLine(text.slice(at, end)));
+    at = end + 1;
   }
   return nodes;
 }
diff --git a/test/parser.test.ts b/test/parser.test.ts
index 11aa22b..99cc77d 100644
--- a/test/parser.test.ts
+++ b/test/parser.test.ts
@@ -3,3 +3,7 @@ import { parse } from "../src/parser.ts";
 it("reads lines", () => {
   equal(parse("a\\nb\\n").length, 2);
 });
+
+it("reads a last line without an end", () => {
+  equal(parse("a\\nb").length, 2);
+});
`;
