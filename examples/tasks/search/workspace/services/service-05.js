export const service05 = {
  name: "service-05",
  timeoutMs: 1050,
  retries: 2,
};
