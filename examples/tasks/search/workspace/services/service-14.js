export const service14 = {
  name: "service-14",
  timeoutMs: 1140,
  retries: 3,
};
