/** What is fuzzed: every public method of the backend, and the OpenAI routes beside them. */
import { type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { AgentService } from "@devmesh/gen/devmesh/api/v1/agent_service_pb";
import { AuditService } from "@devmesh/gen/devmesh/api/v1/audit_service_pb";
import { BackupService } from "@devmesh/gen/devmesh/api/v1/backup_service_pb";
import { BlobService } from "@devmesh/gen/devmesh/api/v1/blob_service_pb";
import { ContextService } from "@devmesh/gen/devmesh/api/v1/context_service_pb";
import { InferService } from "@devmesh/gen/devmesh/api/v1/infer_service_pb";
import { JobService } from "@devmesh/gen/devmesh/api/v1/job_service_pb";
import { QueueService } from "@devmesh/gen/devmesh/api/v1/queue_service_pb";
import { RunnerService } from "@devmesh/gen/devmesh/api/v1/runner_service_pb";
import { SystemService } from "@devmesh/gen/devmesh/api/v1/system_service_pb";
import { TokenService } from "@devmesh/gen/devmesh/api/v1/token_service_pb";
import { ChatService } from "@devmesh/gen/devmesh/inference/v1/chat_service_pb";
import { http } from "@devmesh/gen/google/api/annotations_pb";

const services = [
  JobService,
  QueueService,
  BlobService,
  ContextService,
  InferService,
  ChatService,
  AgentService,
  AuditService,
  BackupService,
  RunnerService,
  TokenService,
  SystemService,
];

/** Ways in. */
export const protocols = ["rest", "connect", "grpc", "ws"] as const;
/** A way in. */
export type Protocol = (typeof protocols)[number];

/** One method, and the ways to it. */
export interface Target {
  /** `JobService.CreateJob`, or `OpenAI.ChatCompletions`. */
  readonly name: string;
  /** Absent: a route of the OpenAI dialect. */
  readonly desc?: DescMethod;
  readonly protocols: readonly Protocol[];
}

/** A REST rule's verb and path. */
export interface RestRule {
  readonly verb: string;
  readonly path: string;
  /** `*`, a field's name, or empty for no body. */
  readonly body: string;
}

/** The REST rule of a method, if it has one. */
export function restRuleOf(desc: DescMethod): RestRule | undefined {
  if (!hasOption(desc, http)) return undefined;
  const { pattern, body } = getOption(desc, http);
  if (pattern.case === undefined || pattern.case === "custom") return undefined;
  return { verb: pattern.case.toUpperCase(), path: pattern.value, body };
}

/** True if Connect takes it by GET. */
export function hasGet({ idempotency, methodKind }: DescMethod): boolean {
  return methodKind === "unary" && idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
}

/** All targets: what only looks comes first, what changes how the server works last. */
export function allTargets(): Target[] {
  const methods = services.flatMap(({ methods }) => methods);
  const targets = methods.map((desc): Target => {
    const found = protocols.filter((protocol) => {
      if (protocol === "rest") return restRuleOf(desc) !== undefined;
      return protocol !== "ws" || desc === JobService.method.watchJob;
    });
    return { name: `${desc.parent.name}.${desc.name}`, desc, protocols: found };
  });
  const dialect: Target[] = [
    { name: "OpenAI.ChatCompletions", protocols: ["rest"] },
    { name: "OpenAI.Responses", protocols: ["rest"] },
    { name: "OpenAI.Models", protocols: ["rest"] },
  ];
  return [...targets, ...dialect].toSorted((a, b) => rankOf(a) - rankOf(b));
}

function rankOf({ desc }: Target): number {
  if (desc === SystemService.method.updateSettings) return 3;
  if (desc?.parent === QueueService || desc === AgentService.method.drainAgent) return 2;
  return desc?.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS ? 0 : 1;
}
