/** The handlers of `devmesh.api.v1.BackupService`. */
import type { ServiceImpl } from "@connectrpc/connect";
import type { BackupService } from "@devmesh/gen/devmesh/api/v1/backup_service_pb";
import type { Backups } from "./backups.ts";

/** Backups of a running backend. */
export class BackupServiceImpl implements ServiceImpl<typeof BackupService> {
  readonly #backups: Backups;

  constructor({ backups }: { readonly backups: Backups }) {
    this.#backups = backups;
  }

  async *createBackup() {
    for await (const data of this.#backups.create()) yield { data };
  }
}
