export const service27 = {
  name: "service-27",
  timeoutMs: 1270,
  retries: 4,
};
