export const service17 = {
  name: "service-17",
  timeoutMs: 1170,
  retires: 2,
};
