export const service23 = {
  name: "service-23",
  timeoutMs: 1230,
  retries: 4,
};
