export const service02 = {
  name: "service-02",
  timeoutMs: 1020,
  retries: 3,
};
