export const service28 = {
  name: "service-28",
  timeoutMs: 1280,
  retries: 1,
};
