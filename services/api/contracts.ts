/** The contracts at the public door. */
import type { DescService } from "@bufbuild/protobuf";
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

/** Every contract at the public door. */
export const contracts: readonly DescService[] = [
  JobService,
  QueueService,
  BlobService,
  ContextService,
  InferService,
  ChatService,
  TokenService,
  AgentService,
  AuditService,
  BackupService,
  SystemService,
  RunnerService,
];

/** `<Service>.<Method>` of every method that can be limited. */
export function methodNames({ name, methods }: DescService): string[] {
  return methods.map((method) => `${name}.${method.name}`);
}
