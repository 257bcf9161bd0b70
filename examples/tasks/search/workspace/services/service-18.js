export const service18 = {
  name: "service-18",
  timeoutMs: 1180,
  retries: 3,
};
