export const service10 = {
  name: "service-10",
  timeoutMs: 1100,
  retries: 3,
};
