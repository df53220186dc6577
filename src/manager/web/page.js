(()=>{'use strict';
const main=document.querySelector('main'),live=document.getElementById('live');
const local=new Intl.DateTimeFormat(undefined,{dateStyle:'medium',timeStyle:'short'});
// Times in the viewer's zone, UTC on hover; and how long ago, where since when is told.
function times(root){
  for(const t of root.querySelectorAll('time')){
    if(!t.title){t.title=t.textContent;t.textContent=local.format(new Date(t.dateTime))}
    const box=t.closest('.since,#open li');
    if(box){
      let age=t.nextElementSibling;
      if(!age||age.className!=='age'){age=document.createElement('span');age.className='age';t.after(age)}
      const s=Math.max(0,(Date.now()-new Date(t.dateTime))/1000);
      const text=s<60?'now':s<3600?Math.floor(s/60)+'m':s<86400?Math.floor(s/3600)+'h '+Math.floor(s/60)%60+'m':Math.floor(s/86400)+'d '+Math.floor(s/3600)%24+'h';
      if(age.textContent!==' ('+text+')')age.textContent=' ('+text+')';
    }
  }
}
// What a target's link opens below its row; it stays open over changes of the row.
const opened=new Map();
function attach(id){
  const row=document.getElementById('t-'+id),detail=opened.get(id);
  if(row&&detail){row.after(detail);row.querySelector('a.t').setAttribute('aria-expanded','true')}
}
async function fill(id,href){
  const answer=await fetch(href+'&part=1');
  const detail=opened.get(id);
  if(detail&&answer.ok){detail.firstChild.innerHTML=await answer.text();times(detail)}
}
main.addEventListener('click',event=>{
  const link=event.target.closest('a.t');
  if(!link||event.ctrlKey||event.metaKey||event.shiftKey)return;
  event.preventDefault();
  const id=link.textContent;
  if(opened.has(id)){opened.get(id).remove();opened.delete(id);link.setAttribute('aria-expanded','false');return}
  const detail=document.createElement('tr'),cell=detail.insertCell();
  cell.colSpan=8;detail.className='detail';cell.textContent='…';
  opened.set(id,detail);attach(id);
  fill(id,link.getAttribute('href'));
});
addEventListener('keydown',event=>{
  const search=document.querySelector('input[type=search]');
  if(event.key==='/'&&search&&!/INPUT|SELECT/.test(document.activeElement.tagName)){event.preventDefault();search.focus()}
});
for(const select of document.querySelectorAll('form select'))select.addEventListener('change',()=>select.form.submit());
// A block as it is now, in place of the one that was; who had the focus keeps it.
function put({id,html}){
  const old=document.getElementById(id);
  if(!old)return;
  const box=document.createElement('template');
  box.innerHTML=html;
  const held=old.contains(document.activeElement)&&document.activeElement.getAttribute('href');
  times(box.content);
  old.replaceWith(box.content);
  if(id==='targets')for(const known of opened.keys())attach(known);
  else if(id.startsWith('t-'))attach(id.slice(2));
  if(held){const link=[...main.querySelectorAll('a')].find(a=>a.getAttribute('href')===held);if(link)link.focus()}
  const title=document.getElementById('verdict');
  if(id==='verdict'&&title)document.title=title.dataset.title+document.title.slice(document.title.lastIndexOf(' · '));
}
times(document);
setInterval(()=>times(document),10000);
if(!main.dataset.stream)return;
setInterval(()=>{for(const [id,detail] of opened)if(detail.isConnected)fill(id,document.getElementById('t-'+id).querySelector('a.t').getAttribute('href'))},15000);
let since=new Date();
const stream=new EventSource(main.dataset.stream);
stream.addEventListener('block',event=>{since=new Date();put(JSON.parse(event.data))});
stream.onopen=()=>{live.textContent='live'};
stream.onerror=()=>{live.textContent='not live: what is shown is of '+local.format(since)+'; trying again'};
})();
