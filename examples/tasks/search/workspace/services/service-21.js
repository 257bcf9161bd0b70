export const service21 = {
  name: "service-21",
  timeoutMs: 1210,
  retries: 2,
};
