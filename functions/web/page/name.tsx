import { visible } from "./words";

/** Name shows what somebody chose to call a person or a thing: it turns nothing around it, and hides nothing. */
export function Name({ of }: { of: string }) {
  return <bdi>{visible(of)}</bdi>;
}
