export const service06 = {
  name: "service-06",
  timeoutMs: 1060,
  retries: 3,
};
