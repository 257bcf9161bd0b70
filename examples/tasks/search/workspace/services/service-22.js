export const service22 = {
  name: "service-22",
  timeoutMs: 1220,
  retries: 3,
};
