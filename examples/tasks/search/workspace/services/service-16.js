export const service16 = {
  name: "service-16",
  timeoutMs: 1160,
  retries: 1,
};
