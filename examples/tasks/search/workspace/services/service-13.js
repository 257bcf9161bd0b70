export const service13 = {
  name: "service-13",
  timeoutMs: 1130,
  retries: 2,
};
