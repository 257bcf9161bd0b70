export const service09 = {
  name: "service-09",
  timeoutMs: 1090,
  retries: 2,
};
