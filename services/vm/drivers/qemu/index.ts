export { QemuDriver, type QemuDriverOptions } from "./qemu-driver.ts";
