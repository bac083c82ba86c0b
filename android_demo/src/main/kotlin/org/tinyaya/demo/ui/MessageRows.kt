package org.tinyaya.demo.ui

import android.app.Activity
import android.content.ClipData
import android.content.ClipboardManager
import android.view.View
import android.view.ViewGroup
import android.widget.BaseAdapter
import android.widget.Button
import android.widget.TextView
import android.widget.Toast
import org.tinyaya.demo.R
import org.tinyaya.demo.chat.ChatMessage
import org.tinyaya.demo.chat.Speaker

/** Messages in, rows of the conversation out. */
class MessageRows(private val activity: Activity, private val words: Words) : BaseAdapter() {
    private var messages = emptyList<ChatMessage>()

    fun set(messages: List<ChatMessage>) {
        if (messages == this.messages) return
        this.messages = messages
        notifyDataSetChanged()
    }

    override fun getCount() = messages.size

    override fun getItem(position: Int) = messages[position]

    override fun getItemId(position: Int) = position.toLong()

    override fun getViewTypeCount() = Speaker.entries.size

    override fun getItemViewType(position: Int) = messages[position].speaker.ordinal

    override fun getView(position: Int, convertView: View?, parent: ViewGroup): View {
        val message = messages[position]
        val isUser = message.speaker == Speaker.USER
        val layout = if (isUser) R.layout.user_message else R.layout.model_message
        val view = convertView ?: activity.layoutInflater.inflate(layout, parent, false)
        val speaker = activity.getString(if (isUser) R.string.speaker_user else R.string.speaker_model)
        view.findViewById<TextView>(R.id.text).apply {
            text = message.text
            contentDescription = "$speaker: ${message.text}"
        }
        if (!isUser) {
            view.findViewById<TextView>(R.id.figures).text = words.figures(message)
            view.findViewById<Button>(R.id.copy).setOnClickListener { copy(message.text) }
        }
        return view
    }

    private fun copy(text: String) {
        activity.getSystemService(ClipboardManager::class.java).setPrimaryClip(ClipData.newPlainText(null, text))
        Toast.makeText(activity, R.string.copied, Toast.LENGTH_SHORT).show()
    }
}
