/** Owns chips: icon, word and colour together, so that none of them carries the meaning alone. */
import type { JSX } from "solid-js";
import { Icon, type IconName } from "./icon.tsx";

/** What a colour says. */
export type Tone = "neutral" | "active" | "good" | "bad" | "warn";

/** How a chip looks. */
export interface ChipLook {
  readonly icon: IconName;
  readonly word: string;
  readonly tone: Tone;
}

/** A chip. */
export function Chip(props: { readonly look: ChipLook }): JSX.Element {
  return (
    <span class={`chip tone-${props.look.tone}`}>
      <Icon name={props.look.icon} />
      {props.look.word}
    </span>
  );
}

/** The chip of something that is well, or not. */
export function OkChip(props: {
  readonly ok: boolean;
  readonly yes: string;
  readonly no: string;
}): JSX.Element {
  return (
    <Chip
      look={
        props.ok
          ? { icon: "check", word: props.yes, tone: "good" }
          : { icon: "cross", word: props.no, tone: "bad" }
      }
    />
  );
}
