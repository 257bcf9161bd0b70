export const service07 = {
  name: "service-07",
  timeoutMs: 1070,
  retries: 4,
};
