export const service20 = {
  name: "service-20",
  timeoutMs: 1200,
  retries: 1,
};
