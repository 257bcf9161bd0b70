export const service04 = {
  name: "service-04",
  timeoutMs: 1040,
  retries: 1,
};
