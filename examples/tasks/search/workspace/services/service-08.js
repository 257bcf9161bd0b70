export const service08 = {
  name: "service-08",
  timeoutMs: 1080,
  retries: 1,
};
