from __future__ import annotations

from django.urls import path

from . import views

app_name = "webchat"
urlpatterns = [
    path("", views.index, name="index"),
    path("new", views.start, name="start"),
    path("<slug:chat_id>/", views.conversation, name="conversation"),
    path("<slug:chat_id>/messages", views.messages, name="messages"),
    path("<slug:chat_id>/post", views.post, name="post"),
    path("<slug:chat_id>/press", views.press, name="press"),
    path("<slug:chat_id>/upload/<slug:upload_id>", views.upload, name="upload"),
    path("<slug:chat_id>/media/<slug:reference>", views.media, name="media"),
    path("<slug:chat_id>/rename", views.rename, name="rename"),
    path("<slug:chat_id>/work/<int:turn_id>", views.work, name="work"),
    path("<slug:chat_id>/events", views.events, name="events"),
]
