export const service11 = {
  name: "service-11",
  timeoutMs: 1110,
  retries: 4,
};
