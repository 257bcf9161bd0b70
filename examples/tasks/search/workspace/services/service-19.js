export const service19 = {
  name: "service-19",
  timeoutMs: 1190,
  retries: 4,
};
