export const service26 = {
  name: "service-26",
  timeoutMs: 1260,
  retries: 3,
};
