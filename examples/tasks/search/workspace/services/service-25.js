export const service25 = {
  name: "service-25",
  timeoutMs: 1250,
  retries: 2,
};
