export const service24 = {
  name: "service-24",
  timeoutMs: 1240,
  retries: 1,
};
