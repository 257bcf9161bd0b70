function slugOf(name) {
  return name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .replaceAll(/^-|-$/g, "");
}

export function authorPath(name) {
  return `/authors/${slugOf(name)}`;
}
