export const service29 = {
  name: "service-29",
  timeoutMs: 1290,
  retries: 2,
};
