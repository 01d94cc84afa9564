import type { Part, Row } from "./decide.js";

/** The columns of a row's answers, as drivers hand them over. */
export type Columns = { [part in Part as `${part}_status`]: number | null } & {
  [part in Part as `${part}_type`]: string | null;
} & {
  [part in Part as `${part}_body`]: Uint8Array | null;
};

export const COLUMNS =
  "action_status, action_type, action_body, completion_status, completion_type, completion_body, compensation_status, compensation_type, compensation_body";

/** Returns the row that some columns stand for. */
export function rowOf(columns: Columns): Row {
  const answer = (part: Part): Row => {
    const status = columns[`${part}_status`];
    return status === null ? {} : { [part]: { status, type: columns[`${part}_type`], body: columns[`${part}_body`] } };
  };
  return { ...answer("action"), ...answer("completion"), ...answer("compensation") };
}
