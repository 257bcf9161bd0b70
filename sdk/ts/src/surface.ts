/** What both entry points export besides `createDevmesh`. */
export { durationMs, timestampDate } from "@bufbuild/protobuf/wkt";
export type { RetryPolicy } from "./backoff.ts";
export type { Devmesh } from "./client.ts";
export {
  Code,
  DevmeshApiError,
  type DevmeshApiErrorFacts,
  DevmeshConfigError,
  errorDomain,
  fromConnect,
  type Reason,
} from "./errors.ts";
export { type Agent, AgentStatus, type Capability } from "./gen/devmesh/api/v1/agent_pb.js";
export type { AgentCommand, AgentReport } from "./gen/devmesh/api/v1/agent_work_pb.js";
export type { AuditEvent, VerifyAuditResponse } from "./gen/devmesh/api/v1/audit_service_pb.js";
export type { SearchContextResponse } from "./gen/devmesh/api/v1/context_service_pb.js";
export type { InferResponse, ListModelsResponse } from "./gen/devmesh/api/v1/infer_service_pb.js";
export { Isolation } from "./gen/devmesh/api/v1/isolation_pb.js";
export {
  type JobEvent,
  type JobLog,
  type JobNote,
  type JobStatusChange,
  LogStream,
} from "./gen/devmesh/api/v1/job_event_pb.js";
export type { FencedWrite, Job, JobSpec } from "./gen/devmesh/api/v1/job_pb.js";
export type {
  Artifact,
  CancelReceipt,
  CancelStep,
  JobResult,
} from "./gen/devmesh/api/v1/job_result_pb.js";
export type {
  ExplainJobResponse,
  JobBlock,
  RetriedJob,
} from "./gen/devmesh/api/v1/job_service_pb.js";
export { JobStatus } from "./gen/devmesh/api/v1/job_status_pb.js";
export type { Queue as QueueState } from "./gen/devmesh/api/v1/queue_service_pb.js";
export type { RateLimit, Settings } from "./gen/devmesh/api/v1/settings_pb.js";
export type {
  GetSettingsResponse,
  GetSystemResponse,
  PartHealth,
  UpdateSettingsResponse,
} from "./gen/devmesh/api/v1/system_service_pb.js";
export type { CreateConsoleLinkResponse, Token } from "./gen/devmesh/api/v1/token_service_pb.js";
export type {
  ChatDelta,
  ChatEnd,
  RouteReceipt,
  ToolCall,
  Usage,
} from "./gen/devmesh/inference/v1/chat_pb.js";
export type { Model, Provider } from "./gen/devmesh/inference/v1/model_pb.js";
export type { IngestOutcome } from "./gen/devmesh/mcp/v1/document_pb.js";
export type { ContextPack, PackItem } from "./gen/devmesh/mcp/v1/pack_pb.js";
export type { SearchItem, SearchReceipt } from "./gen/devmesh/mcp/v1/search_pb.js";
export { createIdempotencyKey } from "./idempotency-key.ts";
export {
  type AgentAnswerInput,
  type AgentHarnessName,
  type AgentTask,
  agentHarnessNames,
  type EgressAllowance,
  type IsolationName,
  isFinalStatus,
  isolationName,
  isolationNames,
  type JobConditions,
  type JobInput,
  type JobStatusName,
  jobStatusName,
  jobStatusNames,
} from "./job-input.ts";
export type { LogOptions } from "./job-log.ts";
export { JobStreamError, type WatchOptions, type WatchState } from "./job-stream.ts";
export type { BlobSource, Blobs, PutBlobOptions, StoredBlob } from "./nouns/blobs.ts";
export type { Collection, Context, ContextFilter, DocumentInput } from "./nouns/context.ts";
export type {
  CreatedJob,
  CreateJobOptions,
  JobDetails,
  JobFilter,
  Jobs,
  RetryFilter,
} from "./nouns/jobs.ts";
export type { InferInput, Llm } from "./nouns/llm.ts";
export type { Agents, Audit, System } from "./nouns/platform.ts";
export type { Queue } from "./nouns/queue.ts";
export type { SecretToken, TokenInput, Tokens } from "./nouns/tokens.ts";
export {
  type CallOptions,
  type DevmeshOptions,
  isLoopbackHost,
  type TransportSetup,
} from "./options.ts";
export { type Page, Pager } from "./pager.ts";
export type { CreateSha256, Sha256 } from "./sha256.ts";
