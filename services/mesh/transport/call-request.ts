/** The part of a client call's request that both transports make alike. */
import type { DescMethod } from "@bufbuild/protobuf";
import { type ContextValues, createContextValues } from "@connectrpc/connect";

/** What `HeadersInit` is in the DOM's types. */
export type HeadersSource = ConstructorParameters<typeof Headers>[0];

/** `/package.Service/Method`. */
export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** Everything of a request but its message and whether it streams. */
export function requestCommon<M extends DescMethod>(
  method: M,
  header: HeadersSource,
  contextValues: ContextValues = createContextValues(),
) {
  return {
    service: method.parent,
    method,
    requestMethod: "POST",
    url: pathOf(method),
    header: new Headers(header),
    contextValues,
  };
}
