"""Ratings of answers: this server keeps none."""

from __future__ import annotations

from .._empty import EmptyTable
from .._records import record, rows

FeedbackModel = record(
    "FeedbackModel",
    __name__,
    "id user_id",
    version=0,
    type="rating",
    **rows("data meta snapshot created_at updated_at"),
)
Feedback = FeedbackResponse = FeedbackUserResponse = FeedbackModel
FeedbackForm = record("FeedbackForm", __name__, "type", **rows("data meta snapshot"))
RatingData = record("RatingData", __name__, **rows("rating model_id sibling_model_ids reason comment"))


class FeedbackTable(EmptyTable):
    """Ratings of answers: this server keeps none."""

    why = "This server keeps no ratings of answers."
    none = "get_feedback_by_id get_feedback_by_id_and_user_id"
    empty = "get_all_feedbacks get_all_feedback_ids get_feedbacks_by_type get_feedbacks_by_chat_id"
    page = "get_feedbacks_by_user_id get_feedback_items"
    false = "delete_feedback_by_id delete_feedback_by_id_and_user_id delete_feedbacks_by_user_id delete_all_feedbacks"
    writes = "insert_new_feedback update_feedback_by_id update_feedback_by_id_and_user_id"


Feedbacks = FeedbackTable()
