export const service01 = {
  name: "service-01",
  timeoutMs: 1010,
  retries: 2,
};
