/** What the system says of a file, said to a model. */
import { errorCode, errorText } from "../text.ts";
import { ToolError } from "./tool.ts";

/** The system's refusal in words that a model understands. */
export function fileError(shown: string, error: unknown): ToolError {
  const words: Readonly<Record<string, string>> = {
    ENOENT: "there is no such file or folder",
    EISDIR: "is a folder",
    ENOTDIR: "a part of it is a file, not a folder",
    EACCES: "permission denied",
    EPERM: "not permitted",
    EROFS: "is read-only",
    ENOSPC: "no space is left",
    ENAMETOOLONG: "the name is too long",
    ELOOP: "is a link that cannot be followed",
    EEXIST: "a file is in the way",
    ENXIO: "is not a regular file",
  };
  return new ToolError(`${shown}: ${words[errorCode(error)] ?? errorText(error)}`);
}
