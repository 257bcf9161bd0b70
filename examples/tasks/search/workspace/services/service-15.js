export const service15 = {
  name: "service-15",
  timeoutMs: 1150,
  retries: 4,
};
