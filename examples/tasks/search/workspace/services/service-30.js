export const service30 = {
  name: "service-30",
  timeoutMs: 1300,
  retries: 3,
};
