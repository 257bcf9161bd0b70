export const service12 = {
  name: "service-12",
  timeoutMs: 1120,
  retries: 1,
};
