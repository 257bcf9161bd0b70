/** The port behind which the settings live that were changed at run time: one document with a version. */

/** What is stored. */
export interface StoredSettings {
  /** 0 before the first change; rises by one with each. */
  readonly version: number;
  /** `devmesh.api.v1.Settings` as JSON: only what was set. */
  readonly value: string;
}

/** The one document. */
export interface SettingsStore {
  /** As it is now. */
  read(): Promise<StoredSettings>;
  /**
   * Replaces the document if its version is still `expectedVersion`. Answers
   * the new version, or undefined if somebody was quicker: then nothing changes.
   */
  replace(expectedVersion: number, value: string): Promise<number | undefined>;
}
