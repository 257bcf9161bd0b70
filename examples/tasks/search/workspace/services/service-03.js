export const service03 = {
  name: "service-03",
  timeoutMs: 1030,
  retries: 4,
};
