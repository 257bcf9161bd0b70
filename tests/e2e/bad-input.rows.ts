/** Requests that must be refused, and how: one row each. */

/** A refusal as REST tells it, and as Connect and gRPC name it. */
export interface BadRow {
  readonly name: string;
  readonly verb?: "POST" | "PUT" | "DELETE" | "GET";
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  /** Sent as it is instead of `body`. */
  readonly raw?: string | Uint8Array<ArrayBuffer>;
  readonly status: number;
  readonly reason: string;
  /** The field that the refusal names in its metadata. */
  readonly field?: string;
  /** The same call of a method, and its code. */
  readonly rpc?: { readonly method: string; readonly message: object; readonly code: string };
}

const job = (method: string) => `devmesh.api.v1.JobService/${method}`;
const argv = ["true"];
const zeros = "0".repeat(64);

const create = (name: string, spec: object, field: string, rest: Partial<BadRow> = {}): BadRow => ({
  name,
  path: "/v1/jobs",
  body: spec,
  status: 400,
  reason: "INVALID_FIELD",
  field,
  rpc: { method: job("CreateJob"), message: { spec }, code: "invalid_argument" },
  ...rest,
});

const list = (name: string, query: Record<string, string>, field: string): BadRow => ({
  name,
  path: `/v1/jobs?${new URLSearchParams(query)}`,
  status: 400,
  reason: "INVALID_FIELD",
  ...(field !== undefined && { field }),
  rpc: { method: job("ListJobs"), message: query, code: "invalid_argument" },
});

const notFound = (name: string, path: string, verb: BadRow["verb"], method: string): BadRow => ({
  name,
  path,
  ...(verb && { verb }),
  status: 404,
  reason: "NOT_FOUND",
  rpc: { method, message: { id: "job_nobody" }, code: "not_found" },
});

/** Jobs. */
const jobRows: readonly BadRow[] = [
  notFound("a job that is not there", "/v1/jobs/job_nobody", "GET", job("GetJob")),
  notFound("events of one", "/v1/jobs/job_nobody/events", "GET", job("ListJobEvents")),
  notFound("cancelling one", "/v1/jobs/job_nobody/cancel", "POST", job("CancelJob")),
  notFound("doing one again", "/v1/jobs/job_nobody/retry", "POST", job("RetryJob")),
  {
    name: "a body that is no JSON",
    path: "/v1/jobs",
    raw: '{"command":',
    status: 400,
    reason: "MALFORMED_BODY",
  },
  {
    name: "a body that is no UTF-8",
    path: "/v1/jobs",
    raw: new Uint8Array([0x7b, 0xff, 0x7d]),
    status: 400,
    reason: "MALFORMED_BODY",
  },
  {
    name: "a body that is no object",
    path: "/v1/jobs",
    body: [1],
    status: 400,
    reason: "MALFORMED_BODY",
  },
  {
    name: "a body over 20 MiB",
    path: "/v1/jobs",
    raw: `{"labels":{"x":"${"a".repeat(21 * 1024 * 1024)}"}}`,
    status: 413,
    reason: "TOO_LARGE",
  },
  create("a NUL in the command", { command: { argv: ["tr\0ue"] } }, "spec.command.argv[0]"),
  create("no work", {}, "spec.work"),
  create("an argv that is no list", { command: { argv: "true" } }, "spec.command.argv"),
  create("numbers in argv", { command: { argv: [1] } }, "spec.command.argv"),
  create("an empty argv", { command: { argv: [] } }, "spec.command.argv"),
  create("a program without a name", { command: { argv: [""] } }, "spec.command.argv"),
  create("a field that nobody knows", { command: { argv }, colour: "red" }, "spec.colour", {
    // Connect passes over what it does not know, as protobuf does.
    rpc: { method: job("CreateJob"), message: { spec: {} }, code: "invalid_argument" },
  }),
  create(
    "a variable's bad name",
    { command: { argv, env: { "A B": "" } } },
    'spec.command.env["A B"]',
  ),
  {
    name: "an isolation that nobody knows",
    path: "/v1/jobs",
    body: { command: { argv }, isolation: "ISOLATION_MOON" },
    status: 400,
    reason: "INVALID_FIELD",
    field: "spec.isolation",
  },
  create("an isolation's bad number", { command: { argv }, isolation: 99 }, "spec.isolation"),
  create(
    "negative memory",
    { command: { argv }, limits: { memoryMib: -1 } },
    "spec.limits.memoryMib",
  ),
  create(
    "memory that is no number",
    { command: { argv }, limits: { memoryMib: "NaN" } },
    "spec.limits.memoryMib",
  ),
  create(
    "huge memory",
    { command: { argv }, limits: { memoryMib: 4_000_000_000 } },
    "spec.limits.memoryMib",
  ),
  create(
    "a negative time",
    { command: { argv }, limits: { runTimeout: "-1s" } },
    "spec.limits.runTimeout",
  ),
  create(
    "a time of years",
    { command: { argv }, limits: { runTimeout: "999999999s" } },
    "spec.limits.runTimeout",
  ),
  create("too many attempts", { command: { argv }, maxAttempts: 21 }, "spec.maxAttempts"),
  create(
    "a workspace that is no hash",
    { command: { argv }, workspaceSha256: "../x" },
    "spec.workspaceSha256",
  ),
  create(
    "a workspace that nobody uploaded",
    { command: { argv }, workspaceSha256: zeros },
    "workspaceSha256",
    {
      status: 404,
      reason: "NOT_FOUND",
      rpc: {
        method: job("CreateJob"),
        message: { spec: { command: { argv }, workspaceSha256: zeros } },
        code: "not_found",
      },
    },
  ),
  create(
    "an isolation that no runner gives",
    { command: { argv }, isolation: "ISOLATION_VM" },
    "isolation",
    {
      status: 412,
      reason: "ISOLATION_UNAVAILABLE",
      rpc: {
        method: job("CreateJob"),
        message: { spec: { command: { argv }, isolation: "ISOLATION_VM" } },
        code: "failed_precondition",
      },
    },
  ),
  {
    name: "a key of 300 characters",
    path: "/v1/jobs",
    headers: { "idempotency-key": "k".repeat(300) },
    body: { command: { argv } },
    status: 400,
    reason: "INVALID_FIELD",
    field: "idempotencyKey",
    rpc: {
      method: job("CreateJob"),
      message: { spec: { command: { argv } }, idempotencyKey: "k".repeat(300) },
      code: "invalid_argument",
    },
  },
  {
    name: "a key with a character that headers do not agree on",
    path: "/v1/jobs",
    headers: { "idempotency-key": "na\u00efve" },
    body: { command: { argv } },
    status: 400,
    reason: "INVALID_FIELD",
    field: "idempotencyKey",
    rpc: {
      method: job("CreateJob"),
      message: { spec: { command: { argv } }, idempotencyKey: "naïve\0" },
      code: "invalid_argument",
    },
  },
  {
    name: "a page token of another server",
    path: "/v1/jobs?pageToken=zzz",
    status: 400,
    reason: "INVALID_PAGE_TOKEN",
    field: "pageToken",
    rpc: { method: job("ListJobs"), message: { pageToken: "zzz" }, code: "invalid_argument" },
  },
  list("a negative page", { pageSize: "-1" }, "pageSize"),
  list("a page that is no number", { pageSize: "NaN" }, "pageSize"),
  list("a page beyond 32 bits", { pageSize: "99999999999" }, "pageSize"),
  list("a page that is too large", { pageSize: "501" }, "pageSize"),
  list("a status that nobody knows", { statuses: "JOB_STATUS_MOON" }, "statuses"),
  list("a type that nobody knows", { type: "wish" }, "type"),
  {
    name: "a query that nobody knows",
    path: "/v1/jobs?colour=red",
    status: 400,
    reason: "INVALID_FIELD",
    field: "colour",
  },
  {
    name: "an event number that is none",
    path: "/v1/jobs/job_nobody/events?from=x",
    status: 400,
    reason: "INVALID_FIELD",
    field: "from",
  },
  {
    name: "a Last-Event-ID that is no number",
    path: "/v1/jobs/job_nobody/events",
    headers: { accept: "text/event-stream", "last-event-id": "x" },
    status: 400,
    reason: "INVALID_FIELD",
    field: "Last-Event-ID",
  },
];

/** Everything else. */
const otherRows: readonly BadRow[] = [
  {
    name: "an empty search",
    path: "/v1/context/search?q=",
    status: 400,
    reason: "INVALID_FIELD",
    field: "q",
  },
  {
    name: "a search for too much",
    path: "/v1/context/search?q=x&topK=101",
    status: 400,
    reason: "INVALID_FIELD",
    field: "topK",
  },
  {
    name: "no documents",
    path: "/v1/context/documents",
    body: { documents: [] },
    status: 400,
    reason: "INVALID_FIELD",
    field: "documents",
  },
  {
    name: "a document over 4 MiB",
    path: "/v1/context/documents",
    body: { documents: [{ source: "a.md", text: "a".repeat(4 * 1024 * 1024 + 1) }] },
    status: 400,
    reason: "INVALID_FIELD",
    field: "documents[0].text",
  },
  {
    name: "a pack without a budget",
    path: "/v1/context/packs",
    body: { task: "x" },
    status: 400,
    reason: "INVALID_FIELD",
    field: "budgetTokens",
  },
  {
    name: "an empty question",
    path: "/v1/llm/infer",
    body: { input: "" },
    status: 400,
    reason: "INVALID_FIELD",
    field: "input",
  },
  {
    name: "a temperature below zero",
    path: "/v1/llm/infer",
    body: { input: "x", params: { temperature: -1 } },
    status: 400,
    reason: "INVALID_FIELD",
    field: "params.temperature",
  },
  {
    name: "a temperature that is no number",
    path: "/v1/llm/infer",
    body: { input: "x", params: { temperature: "NaN" } },
    status: 400,
    reason: "INVALID_FIELD",
    field: "params.temperature",
  },
  {
    name: "a model that is not there",
    path: "/v1/llm/infer",
    body: { input: "x", model: "scripted/nobody" },
    status: 404,
    reason: "MODEL_NOT_FOUND",
    rpc: {
      method: "devmesh.api.v1.InferService/Infer",
      message: { input: "x", model: "scripted/nobody" },
      code: "not_found",
    },
  },
  {
    name: "a provider that is down",
    path: "/v1/llm/infer",
    body: { input: "x", model: "ollama/any" },
    status: 503,
    reason: "PROVIDER_UNAVAILABLE",
    rpc: {
      method: "devmesh.api.v1.InferService/Infer",
      message: { input: "x", model: "ollama/any" },
      code: "unavailable",
    },
  },
  {
    name: "a token that is not there",
    verb: "DELETE",
    path: "/v1/tokens/tok_nobody",
    status: 404,
    reason: "NOT_FOUND",
  },
  {
    name: "a token without scopes",
    path: "/v1/tokens",
    body: { name: "x", scopes: [] },
    status: 400,
    reason: "INVALID_FIELD",
    field: "scopes",
  },
  {
    name: "a console link that is not there",
    path: "/v1/console-links:redeem",
    body: { secret: "dml_nobody" },
    status: 401,
    reason: "UNAUTHENTICATED",
  },
  ...["/v1/nope", "/v1/jobs/a/b/c", "/.well-known/x", "/nope.js", "/v1/x"].map(
    (path): BadRow => ({
      name: `the path ${path}`,
      verb: "GET",
      path,
      status: 404,
      reason: "NO_SUCH_ROUTE",
    }),
  ),
  {
    name: "a method that the path does not take",
    verb: "PUT",
    path: "/v1/jobs",
    body: {},
    status: 405,
    reason: "METHOD_NOT_ALLOWED",
  },
];

/** All rows. */
export const badRows: readonly BadRow[] = [...jobRows, ...otherRows];
