/** `@devmesh/sdk/raw`: the generated surface, for what the nouns do not cover. */
export * from "./gen/devmesh/api/v1/agent_pb.js";
export * from "./gen/devmesh/api/v1/agent_service_pb.js";
export * from "./gen/devmesh/api/v1/audit_service_pb.js";
export * from "./gen/devmesh/api/v1/blob_service_pb.js";
export * from "./gen/devmesh/api/v1/context_service_pb.js";
export * from "./gen/devmesh/api/v1/infer_service_pb.js";
export * from "./gen/devmesh/api/v1/job_pb.js";
export * from "./gen/devmesh/api/v1/job_service_pb.js";
export * from "./gen/devmesh/api/v1/system_service_pb.js";
export * from "./gen/devmesh/api/v1/token_service_pb.js";
export * from "./gen/devmesh/errors/v1/reason_pb.js";
export * from "./gen/devmesh/inference/v1/chat_pb.js";
export * from "./gen/devmesh/inference/v1/model_pb.js";
export * from "./gen/devmesh/mcp/v1/document_pb.js";
export * from "./gen/devmesh/mcp/v1/pack_pb.js";
export * from "./gen/devmesh/mcp/v1/search_pb.js";
export * from "./gen/google/rpc/error_details_pb.js";
